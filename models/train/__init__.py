"""Training loops: a net, pictures and settings in, trained weights out; resumable, on any device."""
