"""Search for faster code: which operators go to a library, which schedules suit this machine. Tasks and budgets come in, measured choices go out."""
