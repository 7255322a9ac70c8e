"""What a study costs before it is executed: time, memory and disk.

`amounts_of_work` counts what the runs of a plan do, in steps and tokens; `unit_costs` says what a
step or a token costs on a machine: measured here, published, or assumed for a GPU; `estimate`
multiplies and sums. `measuring_costs` measures what `what_to_measure` asks for, by `timed_steps`
and, for what runs take beside them, by `runs_without_steps`. Nothing here asks the Hub.
"""
