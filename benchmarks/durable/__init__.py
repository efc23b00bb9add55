"""Durable tasks beside their peers and beside what the disk and the server allow.

``python -m benchmarks.durable setup`` builds a virtual environment for every peer,
``python -m benchmarks.durable`` measures. One run, one interpreter for every side, the sides take
turns; what counts is the ratio to the physical limits and to the peers of the same run.

Every side is a module with an ``Adapter`` (``side.py``): the peers' in ``peers/``, ours in
``ours.py``. Producers and workers are processes of their own, in the side's environment, so what
these modules import beside the standard library is what the side itself needs.
"""
