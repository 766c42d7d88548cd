# A tour of ablate from Python. Each `# %%` opens a cell for Jupyter, VS Code or PyCharm; as a script it runs, too.
# tests/api/test_notebook.py runs this very file.

# %% Which of two cells is better, and does it depend on the width? Only missing runs are trained.
import ablate

tour = {
    "model": ["gru", "rnn"],
    "num_hiddens": [4, 8],
    "data": "text_file",
    "data.path": "book.txt",  # a pathlib.Path works, too
    "max_tokens": 2_000,
    "val_tokens": 500,
    "epochs": 5,
    "keep": "weights",
    "name": "tour",
}
sweep = ablate.sweep(**tour, seeds=6)
sweep  # a table: the mean over the seeds with its interval, n, diverged runs

# %% One row per run, one per setting, one per epoch
runs, settings, curves = sweep.frame(), sweep.settings(), sweep.curves()
settings[["model", "num_hiddens", "val_perplexity", "val_perplexity_low", "val_perplexity_high", "n"]]

# %% Pairs of settings that differ only in the model: the ratio, its interval, p, and p corrected over the table
sweep.compare("val_perplexity", by="model")[["at", "from_value", "to_value", "ratio", "low", "high", "p_holm"]]

# %% A claim, and what the runs say about it
verdict = sweep.claim("gru < rnn", "val_perplexity")
print(verdict.verdict, "-", verdict.evidence)

# %% A matplotlib figure
figure = sweep.plot(x="num_hiddens", y="val_perplexity")
figure.savefig("tour.png")

# %% More seeds: the same call, and only the new ones are trained
more = ablate.sweep(**tour, seeds=7)
print(len(sweep), "runs, now", len(more))

# %% The best network: a torch.nn.Module, and what it writes
best = runs.sort_values("val_perplexity").iloc[0]
network = ablate.module(best)
print(network)
print(ablate.generate(best, "the ", length=40))
print(ablate.generate(best, "the ", length=40, temperature=0.8, seed=1))

# %% Several sweeps in one, and their runs for other programs
both = ablate.load("results/tour")
both.export("csv")
