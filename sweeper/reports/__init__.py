"""From the ledger to tables and figures."""
