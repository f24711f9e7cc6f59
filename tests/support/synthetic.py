"""Results folders as large as they get, made in seconds: numbers, curves and per-image records that agree."""

import json
from pathlib import Path

import numpy as np

from firstsight.results.bootstrap import Images

METHODS = [
    "spaen",
    "eszsl",
    "ale",
    "sje",
    "latem",
    "devise",
    "sync",
    "sae",
    "cmt",
    "cmt_star",
    "sse",
    "conse",
    "dap",
    "iap",
]


def synthetic_run(rng, data, method, seed, labels, is_seen, skill, calibrated=True):
    """One run whose numbers all follow from its per-image record."""
    of_seen = is_seen[labels]
    ease = rng.normal(0, 0.6, len(is_seen))[labels]
    right = rng.normal(skill, 1, len(labels)) + ease > 0
    lead = (rng.normal(0.25, 0.35, len(labels)) + np.where(of_seen, 0.35, -0.1) * (1 + skill)).astype(np.float32)
    images = Images(lead, right, labels, is_seen)
    gamma = 0.35 if calibrated else None
    counts = np.bincount(labels, minlength=len(is_seen))
    plain, stacked = (100 * np.bincount(labels[images.hits(at)], minlength=len(is_seen)) / counts for at in (0, 0.35))
    run = {"data": data, "method": method, "seed": seed, "gamma": gamma}
    run |= dict.fromkeys(("u_cal", "s_cal", "h_cal")) | images.metrics(gamma)
    run["ausuc_per_sample"] = run["ausuc"]
    if method == "cmt_star":
        run["t1"] = None
    run["classes"] = [
        {
            "name": f"{row + 1:03d}.Imaginary_bird_{row}",
            "seen": bool(is_seen[row]),
            "images": int(counts[row]),
            "accuracy": plain[row],
            "accuracy_calibrated": stacked[row] if calibrated else None,
        }
        for row in range(len(is_seen))
    ]
    order = np.argsort(lead)
    order = order[right[order]]
    won = np.where(~of_seen, images.share, 0)[order].cumsum()
    lost = np.where(of_seen, images.share, 0)[order].cumsum()
    u, s = np.append(0, won), lost[-1] - np.append(0, lost)
    keep = np.unique(np.linspace(0, len(u) - 1, 400).round().astype(int))
    run["curve"] = {"gamma": lead[order][keep[:-1]].tolist(), "u": u[keep].round(3).tolist()}
    run["curve"]["s"] = s[keep].round(3).tolist()
    run |= {"images": vars(Images.encode(lead, right)), "temperature": 0.05, "fingerprint": "0123456789ab"}
    run |= {"seconds_fit": 10 + 5 * seed, "seconds_score": 0.1, "commit": "0f1e2d3+dirty", "memory": 1_300_000_000}
    run |= {"threads": 1, "device": "cpu, 2 cores", "versions": {"torch": "2.7.1", "python": "3.12.1"}}
    run |= {
        "settings": {"penalty": 10.0, "scaling": "l2", "seed": seed},
        "settings_from": "AUSUC on validation classes",
    }
    return run | {"defaults": {"penalty": 1.0, "scaling": "l2", "seed": 0}}


def synthetic_results(
    folder: Path, names=("CUB",), methods=METHODS, seeds=range(5), n_seen=150, n_unseen=50, per_class=(12, 60)
) -> Path:
    """A results folder; methods differ in skill, the first being the best by little."""
    rng = np.random.default_rng(0)
    is_seen = rng.permutation(np.arange(n_seen + n_unseen) < n_seen)
    rows = np.arange(n_seen + n_unseen)
    labels = np.concatenate([np.repeat(rows[is_seen], per_class[0]), np.repeat(rows[~is_seen], per_class[1])])
    for kind in ("runs", "data"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name in names:
        for place, method in enumerate(methods):
            for seed in seeds if place < 8 else [0]:  # the others have no randomness
                run = synthetic_run(rng, name, method, seed, labels, is_seen, skill=0.5 - 0.06 * place)
                (folder / "runs" / f"{name}-{method}-{seed}.json".translate(str.maketrans("</>:", "____"))).write_text(
                    json.dumps(run)
                )
        variance = {"attributes": [f"has_part::{n}" for n in range(312)], "cosine": 0.9575}
        variance |= {split: rng.gamma(0.5, 1, 312).tolist() for split in ("trainval", "test_unseen")}
        about = {"name": name, "description": "synthetic", "images": len(labels), "classes": len(rows)}
        about |= {"seen": n_seen, "unseen": n_unseen, "attributes": 312, "variance": variance}
        about |= {"labels": labels.tolist(), "is_seen": is_seen.astype(int).tolist(), "fingerprint": "0123456789ab"}
        (folder / "data" / f"{name}.json").write_text(json.dumps(about))
    return folder
