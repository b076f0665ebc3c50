# Read by every shell of a node: where Sweeper is, and that Ray asks for the token in ~/.ray/auth_token.
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MLFLOW_ON_HEAD=http://127.0.0.1:${MLFLOW_PORT:-5000}
export SWEEPER_HOME=$home PATH=$home/.venv/bin:$PATH
export PYTHONPATH=$home # Ray's workers look where the study was started, too: in ~, this folder would pass for the package
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export SWEEPER_STORAGE=$HOME/sweeps MLFLOW_TRACKING_URI=$MLFLOW_ON_HEAD
if [ -f ~/sweeper.env ]; then . ~/sweeper.env; fi
unset home
