"""Measurements against the peer in the same run; `docs/performance.md` has their last figures."""
