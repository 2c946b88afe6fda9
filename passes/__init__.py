"""IR to IR. The flow: `canonical` and `fuse` shape the Graph, `lower` makes naive Kernel programs, `sketch` writes their schedule
scripts, `schedule` applies them, `plan_memory` places temporaries; `pipeline` runs them in this order."""
