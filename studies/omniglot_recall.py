"""Does a plastic network recall characters of alphabets that it has never seen, after one look?"""

from plastic_search.core.loading import value
from plastic_search.experiments.study import Study
from plastic_search.tasks.omniglot_recall import OmniglotRecall
from plastic_search.trainers.gradient import Gradient

STUDY = Study(
    question="Does a plastic network recall characters of alphabets that it has never seen, after one look?",
    space=value("search_spaces", "one_shot"),
    task=OmniglotRecall(ways=5),
    trainer=Gradient(steps=800),
    finalist=Gradient(steps=4000),
    trials=16,
)
