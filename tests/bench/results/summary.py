# SPDX-License-Identifier: GPL-2.0-or-later
"""All repetitions together: medians and spread; ratios are taken within one repetition first,
because only what ran in one machine, one after the other, can be compared.
"""
import statistics

import cases


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "n": len(values)}


class Runs:
    """reps: a list of {case: {metric: number} or {"error": text}}."""

    def __init__(self, reps):
        self.reps = reps

    def cases(self):
        seen = {}
        for rep in self.reps:
            seen.update(dict.fromkeys(rep))
        return list(seen)

    def values(self, case, metric):
        """One for each repetition that has it."""
        return [rep[case][metric] for rep in self.reps if metric in rep.get(case, {})]

    def spread(self, case, metric):
        values = self.values(case, metric)
        return spread(values) if values else None

    def median(self, case, metric):
        found = self.spread(case, metric)
        return found and found["median"]

    def ratios(self, a, b, metric, other=None):
        """a's metric over b's (or b's other), repetition by repetition."""
        other = other or metric
        return [rep[a][metric] / rep[b][other] for rep in self.reps
                if metric in rep.get(a, {}) and rep.get(b, {}).get(other)]

    def errors(self):
        return [(n, case, numbers["error"]) for n, rep in enumerate(self.reps, 1)
                for case, numbers in rep.items() if "error" in numbers]

    def all_ratios(self):
        """Each case of the matrix over those that it is compared with: IOPS and p99."""
        out = {}
        for case in filter(cases.is_matrix, self.cases()):
            stack, workload, archive = case.split("/")
            others = {s: f"{s}/{workload}/none" for s in cases.CALM_STACKS}
            if stack in cases.OUR_STACKS:
                others.update({s: f"{s}/{workload}/{archive}" for s in cases.PEER_STACKS})
            for name, other in others.items():
                for metric in ("iops", "lat_p99_us", "backup_s"):
                    values = self.ratios(case, other, metric) if other != case else []
                    if values:
                        out.setdefault(case, {}).setdefault(name, {})[metric] = spread(values)
        return out

    def document(self, parameters, targets):
        """What goes to bench.json; its names are only ever added to."""
        out = {}
        for case in self.cases():
            metrics = {m for rep in self.reps for m in rep.get(case, {}) if m != "error"}
            out[case] = {m: dict(self.spread(case, m), values=self.values(case, m))
                         for m in sorted(metrics)}
        return {"version": 1, "parameters": parameters, "cases": out,
                "ratios": self.all_ratios(), "targets": targets,
                "errors": [{"repetition": n, "case": c, "error": e}
                           for n, c, e in self.errors()]}
