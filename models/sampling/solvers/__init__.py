"""The solvers, as functions of the schedule; `solver.SOLVERS` names them."""
