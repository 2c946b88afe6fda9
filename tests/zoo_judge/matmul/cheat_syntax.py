# expect: compile-error crash
class ModelNew(
