#!/usr/bin/env bash
# What every node of a cluster does, on premise, on AWS and under Slurm alike:
#   node.sh setup               install Sweeper as it was copied here, with the pinned constraints; again: mend what differs
#   node.sh stop                end Ray and MLflow's server on this node, whoever started them
#   node.sh mlflow              serve MLflow on loopback, unless MLFLOW_TRACKING_URI names another server
#   node.sh head [OPTION …]     start Ray's head; options of `ray start`
#   node.sh worker [OPTION …]   join the head at RAY_HEAD_IP
# What a node needs to know beyond that stands in ~/sweeper.env, if there is one: SWEEPER_STORAGE, SWEEPER_DATA, …
set -euo pipefail
environment=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/environment.sh
. "$environment"
ulimit -c 0

case ${1:-} in
  setup)
    cd "$SWEEPER_HOME"
    make --silent .venv/ready
    grep -qF "$environment" ~/.bashrc || echo ". $environment" >> ~/.bashrc
    ;;
  stop)
    ray stop --force
    pkill -f 'mlflow server --host 127.0.0.1' || true
    ;;
  mlflow)
    if [ "${MLFLOW_TRACKING_URI:-}" != "$MLFLOW_ON_HEAD" ]; then exit; fi
    mkdir -p "$SWEEPER_STORAGE"
    # by variables, which unlike arguments other users of the machine cannot read: a URI may hold a password
    export MLFLOW_BACKEND_STORE_URI=${MLFLOW_BACKEND_STORE_URI:-sqlite:///$SWEEPER_STORAGE/mlflow.db}
    export MLFLOW_ARTIFACTS_DESTINATION=${MLFLOW_ARTIFACTS_DESTINATION:-$SWEEPER_STORAGE/mlartifacts}
    export MLFLOW_PORT=${MLFLOW_PORT:-5000} MLFLOW_DISABLE_TELEMETRY=true
    export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # eight processes that nothing here asks for
    exec mlflow server --host 127.0.0.1 --workers 1 --app-name sweeper
    ;;
  head)
    exec ray start --head --port="${RAY_PORT:-6379}" --dashboard-host=127.0.0.1 "${@:2}" ${RAY_START_OPTIONS:-}
    ;;
  worker)
    exec ray start --address="$RAY_HEAD_IP:${RAY_PORT:-6379}" "${@:2}" ${RAY_START_OPTIONS:-}
    ;;
  *)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac
