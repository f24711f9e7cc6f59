"""What the analyses of test scores and of a data set found, as `firstsight.analysis` returns it.

docs/analyses.md explains each. Numbers are means over images unless said otherwise; they are None where the gamma or
the temperature that they need was not chosen, or where no image or class has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from firstsight.results.document import OMITTED

Shares = list[list[float | None]]  # percent by truth (rows: seen, unseen) and answer (columns), mean per class


@dataclass(frozen=True)
class Hub:
    """A class that is answered often."""

    name: str
    answers: int  # images that are answered with it
    images: int = 0  # its own test images


@dataclass(frozen=True)
class Hubs:
    """How often each candidate is among the k highest scores of an image: N_k."""

    k: list[int]  # 1, and another number of neighbours
    skewness: list[float | None]  # of N_1 and N_k over candidates
    perfect: float | None  # skewness of N_1 if every answer were right
    counts: list[list[int]]  # N_1 and N_k, each in falling order
    hubs: list[Hub]  # the classes answered most


@dataclass(frozen=True)
class Hubness:
    """Hubs among the unseen classes (`uu`) and among all (`ut`), over unseen images, without gamma."""

    uu: Hubs
    ut: Hubs


@dataclass(frozen=True)
class Pair:
    """A frequent mistake: `share` percent of the images of `truth` are answered with `answer`."""

    truth: str
    answer: str
    share: float


@dataclass(frozen=True)
class Confusion:
    """Which classes are answered for which."""

    plain: Shares  # without gamma
    calibrated: Shares | None
    pairs: list[Pair] = field(default_factory=list)  # among all classes, with gamma where there is one; worst first
    unseen_pairs: list[Pair] = field(default_factory=list)  # unseen images among unseen classes


@dataclass(frozen=True)
class AttributeArea:
    """Area under the ROC curve of one attribute."""

    name: str
    auc: float


@dataclass(frozen=True)
class MeanArea:
    """Mean area over attributes, with the unseen classes as candidates and with all."""

    unseen: float | None
    all: float | None


@dataclass(frozen=True)
class AttributeQuality:
    """How well answers predict the attributes of unseen test images."""

    auc: list[float | None]  # [a] with the unseen classes as candidates; None where all images are alike
    mean: MeanArea
    best: list[AttributeArea] = field(default_factory=list)
    worst: list[AttributeArea] = field(default_factory=list)


@dataclass(frozen=True)
class Bins:
    """Mean confidence, accuracy and number of images of each bin of confidences that holds any."""

    confidence: list[float]
    accuracy: list[float]
    images: list[int]


@dataclass(frozen=True)
class Reliability:
    """Calibration of the probabilities at one temperature of the softmax."""

    temperature: float
    ece: float  # expected calibration error, 0 to 1
    ece_seen: float | None  # over images of seen classes
    ece_unseen: float | None
    nll: float  # negative log likelihood of the right classes, in nats
    bins: Bins


@dataclass(frozen=True)
class Probability:
    """Reliability at the fitted temperature, and at 1: the scores as they are."""

    fitted: Reliability | None
    raw: Reliability | None


@dataclass(frozen=True)
class RiskCurve:
    """Points of the risk-coverage curve, both 0 to 1."""

    coverage: list[float]
    risk: list[float]


@dataclass(frozen=True)
class Selection:
    """Selective prediction, and detection of unseen classes."""

    aurc: float | None  # area under the risk-coverage curve, lower is better
    least: float | None  # that area if all right answers came before all wrong ones
    risk: float | None  # of answering all images
    curve: RiskCurve | None
    auroc: float | None  # of telling unseen from seen images, the same for every gamma


@dataclass(frozen=True)
class Analyses:
    """All analyses of one run's test scores; None where a file does not hold one."""

    hubness: Hubness | None = None
    confusion: Confusion | None = None
    attributes: AttributeQuality | None = None
    probability: Probability | None = None
    reject: Selection | None = None


@dataclass(frozen=True)
class SideMeans:
    """A mean over the points of seen and over those of unseen test classes."""

    seen: float | None
    unseen: float | None


@dataclass(frozen=True)
class Nearest:
    """Mean cosine distance to the nearest point of another class, by all attributes and by the high-variance ones."""

    all: SideMeans
    high: SideMeans


@dataclass(frozen=True)
class Lost:
    """An unseen class that comes closer to a neighbour: its cosine distance by all and by high-variance attributes."""

    class_: str
    neighbour: str
    all: float
    high: float


@dataclass(frozen=True)
class Projection:
    """Maps of the test classes or images: points (x, y) of t-SNE by all attributes and by the high-variance ones."""

    all: list[tuple[float, float]]
    high: list[tuple[float, float]]
    class_: list[int]  # [p] rows of the classes
    images: list[int] = field(default_factory=list)  # [p] test images of each class; empty where a point is an image
    nearest: Nearest | None = None
    lost: list[Lost] = field(default_factory=list)  # the unseen classes that lose most distance
    of: str | None = field(default=None, metadata=OMITTED)  # `images` where a point is an image; None for a class
