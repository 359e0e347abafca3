"""A package, so that its Chromium can be closed when its tests are done: before those that run event loops."""
