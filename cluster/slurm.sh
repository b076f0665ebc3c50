#!/usr/bin/env bash
#SBATCH --job-name=sweeper --ntasks-per-node=1 --no-kill --signal=B:TERM@120
# A Ray cluster inside a Slurm allocation, for one study. From the project's folder, which all nodes see, as they see ~:
#   make .venv/ready                                                                         once
#   sbatch --nodes=2 --cpus-per-task=8 --gpus-per-node=1 --time=8:00:00 cluster/slurm.sh STUDY
# The first node is the head, the others are workers. All ends with the study, or two minutes before the time limit; then
# the same line goes on with what is left.
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
export RAY_PORT=$((20000 + SLURM_JOB_ID % 5000)) MLFLOW_PORT=$((25000 + SLURM_JOB_ID % 5000)) # jobs may share a node
. cluster/environment.sh
export RAY_HEAD_IP=${RAY_HEAD_IP:-$(getent ahostsv4 "$(hostname)" | awk '{print $1; exit}')}
export RAY_ADDRESS=$RAY_HEAD_IP:$RAY_PORT
cpus=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}
others=$((SLURM_JOB_NUM_NODES - 1))
[ -f ~/.ray/auth_token ] || ray get-auth-token --generate > /dev/null

log=slurm-$SLURM_JOB_ID-nodes.log
parts=()
trap 'kill "${parts[@]}" 2> /dev/null || true; wait' EXIT
begin() { # COMMAND …: in the background, until the job ends
  "$@" >> "$log" 2>&1 &
  parts+=($!)
}
wait_for() { # N nodes, as long as what began last goes on
  until [ "$(ray status 2> /dev/null | grep -c '^ 1 node_')" -ge "$1" ]; do
    kill -0 "${parts[-1]}" 2> /dev/null || { echo "the cluster did not start; $log says why" >&2; exit 1; }
    sleep 1
  done
}
begin bash cluster/node.sh mlflow
begin bash cluster/node.sh head --block --node-ip-address="$RAY_HEAD_IP" --num-cpus="$cpus"
wait_for 1
if [ "$others" -gt 0 ]; then
  begin srun --nodes="$others" --ntasks="$others" --cpus-per-task="$cpus" --exclude="$SLURMD_NODENAME" --no-kill \
    bash cluster/node.sh worker --block --num-cpus="$cpus"
  wait_for "$SLURM_JOB_NUM_NODES"
fi

[ "$MLFLOW_TRACKING_URI" != "$MLFLOW_ON_HEAD" ] ||
  echo "MLflow's pages: ssh -L 5000:127.0.0.1:$MLFLOW_PORT $(hostname), then http://localhost:5000"
env --default-signal=INT python sweeper/launch.py "$@" & # a background job of a script ignores Ctrl-C's signal otherwise
study=$!
trap 'kill -INT "$study"' TERM
code=0
wait "$study" || code=$?
if kill -0 "$study" 2> /dev/null; then # the signal ended only the waiting
  code=0
  wait "$study" || code=$?
fi
exit "$code"
