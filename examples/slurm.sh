#!/bin/bash
# A training of semi on a Slurm cluster: one torchrun a machine, one process a GPU.
#   sbatch --nodes 4 examples/slurm.sh projector recipes/projector.yaml --out /shared/runs/projector
# Recipe, encoded folders, SEMI_CACHE and --out lie on a file system that all machines share. A job that is requeued
# goes on from its last checkpoint, on as many machines as it is given then.
#SBATCH --job-name=semi-train
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --requeue
set -euo pipefail

read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$head:${RENDEZVOUS_PORT:-29500}" \
  -m semi train "$@"
