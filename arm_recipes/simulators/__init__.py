"""Reference simulators: the programs that `verify` runs a lowered model on, on this machine.

Each has a module here with a class that follows `base.Simulator`, and runs in a process of its own
(`worker.process`), so that its crash is an error message and not the end of the caller. Nothing but numbers and text
goes over to the processes (`worker.messages`).

Nothing is imported here: the workers load this package too, and one of them needs no torch.
"""
