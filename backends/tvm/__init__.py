"""TVM as a second compiler: Graphs go in, dlight-scheduled CUDA programs and arrays computed by LLVM come out."""
