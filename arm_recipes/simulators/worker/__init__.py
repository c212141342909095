"""The processes that simulators run in, and the messages to and from them."""
