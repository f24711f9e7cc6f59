"""Old name of `firstsight.recogniser.topk`."""

from firstsight.recogniser.topk import ClassIndex as ClassIndex
