"""Where the programs of a sweep are trained when not in this process: `hydra/launcher=slurm`, `hydra/launcher=ray`.

options    what `hydra.launcher.…` sets, checked
orders     missing runs as work orders, one a job, and back
worker     a job: what an order asks for, trained as a sweep on one machine is
queues     a cluster: submit, ask, cancel; the one that a launcher means
slurm      SLURM, by submitit
ray        Ray
following  what is known of jobs that were submitted
follower   jobs, handed over and followed until they have ended
collect    those of a sweep: submitting what is missing, and waiting until it is on disk

A job is given runs, never one run: those that can train together are trained as one program. It writes its records
into the sweep's folder, and these tell what is finished; what the cluster says of a job only tells whether to go on
waiting for it.
"""
