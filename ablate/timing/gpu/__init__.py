"""`ablate bench gpu`: what a card computes and how fast, in one command of at most eight minutes.

budget    a plan of time: what each part may take, and what is left out when it is gone
work      the settings that are computed, and programs that train them; full sizes and those of a rehearsal
checks    what has to be right before a time means anything
compiling kernels for it, by several processes
part, apart   a process that checks and times, and who asks it
table     µs per minibatch and run: models × sizes, by each way of training them
commands  whole commands, by the clock
goals     what the numbers were to reach, and whether they do
page      one JSON file and one Markdown page with the card's name
bench     all of it
"""
