"""Questions and how they are answered: studies, comparisons, sweeps, and the verbs of the command line.

`plastic-search run` calls `runner.run`, which opens the run folder (`folder`), starts worker processes (`workers`) and,
for a study, `search.carry_out`: rounds of trials that `optuna_search.Arm` proposes (TPE and random), each trained by
`perform.perform` in a worker and recorded; then the finalists, with the `controls` of the winner. A comparison or a
sweep trains its cases instead, all seeds of a case as a `population` where the trainer can be interrupted.
"""
