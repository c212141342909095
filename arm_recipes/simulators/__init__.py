"""Reference simulators: the programs that `verify` runs a lowered model on, on this machine.

Each has a module here with a class that follows `base.Simulator`, and runs in a process of its own (`process`), so that
its crash is an error message and not the end of the caller. The processes run `tosa_worker` and `edge_worker`; nothing
but numbers and text goes over to them (`frames`).

Nothing is imported here: the workers load this package too, and one of them needs no torch.
"""
