"""A sweep: the runs of a study, each after what it starts from, independent ones side by side.

`scheduling` goes through the plan and hands out each `task`: to `local` workers, or to a `cluster`
of Dask's. That is found at one of the `places`; `admission` says who belongs to its `crew`, and
what a member does is in `on_worker`.
"""
