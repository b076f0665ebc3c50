"""The service: study, planner, executor, ledger, tracker, report."""
