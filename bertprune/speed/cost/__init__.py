"""What a study costs before it is executed: time, memory and disk.

`amounts_of_work` counts what the runs of a plan do, in steps and tokens; `unit_costs` says what a
step or a token costs on a machine: measured here (`measuring_costs`), published, or assumed for a
GPU; `estimate` multiplies and sums. Nothing here asks the Hub.
"""
