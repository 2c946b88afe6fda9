"""Who proposes strategies: what is known of a run comes in, strategies to try go out. `proposer.py` is the one interface."""
