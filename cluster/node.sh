#!/usr/bin/env bash
# What every node of a cluster does, on premise and on AWS alike:
#   node.sh setup     install Sweeper as it was copied here, with the pinned constraints; again: mend what differs
#   node.sh head      start Ray's head, and MLflow's server on loopback
#   node.sh worker    join the head at RAY_HEAD_IP
# What a node needs to know beyond that stands in ~/sweeper.env, if there is one: SWEEPER_STORAGE, SWEEPER_DATA, …
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=$home/cluster/environment.sh

case ${1:-} in
  setup)
    cd "$home"
    make --silent .venv/ready
    grep -qF "$environment" ~/.bashrc || echo ". $environment" >> ~/.bashrc
    ;;
  head)
    . "$environment"
    ray stop --force
    if [ "${MLFLOW_TRACKING_URI:-}" = "$MLFLOW_ON_HEAD" ]; then
      pkill -f 'mlflow server --host 127.0.0.1' || true
      mkdir -p "$SWEEPER_STORAGE"
      MLFLOW_DISABLE_TELEMETRY=true nohup mlflow server --host 127.0.0.1 --port 5000 --workers 1 \
        --backend-store-uri "sqlite:///$SWEEPER_STORAGE/mlflow.db" --artifacts-destination "$SWEEPER_STORAGE/mlartifacts" \
        > ~/mlflow.log 2>&1 < /dev/null &
    fi
    ulimit -c 0
    ray start --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config="$HOME/ray_bootstrap_config.yaml" \
      ${RAY_START_OPTIONS:-}
    ;;
  worker)
    . "$environment"
    ray stop --force
    ulimit -c 0
    ray start --address="$RAY_HEAD_IP:6379" ${RAY_START_OPTIONS:-}
    ;;
  *)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
