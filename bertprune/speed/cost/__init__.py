"""What a study costs before it is executed: time, memory and disk.

`work` counts what the runs of a plan do, in steps and tokens; `units` says what a step or a token
costs on a machine: measured here (`measure`), published, or assumed for a GPU; `estimate`
multiplies and sums. Nothing here asks the Hub.
"""
