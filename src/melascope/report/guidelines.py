"""Reporting guidelines, item by item: where a report and its card answer them, and where they do not.

TRIPOD+AI: Collins et al. (2024), BMJ 385:e078378. STARD-AI: Sounderajah et al. (2025), Nature Medicine,
doi:10.1038/s41591-025-03953-8. CLAIM 2024: Tejani et al. (2024), Radiology: Artificial Intelligence 6(4):e240300. Items
are named by their topic; the guidelines define what each asks.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

ASKED, WHOM, WELL = "report 1, what was asked", "report 2, on whom", "report 3, how well"
SURE, FAILS, NOT_FOR = (
    "report 4, how sure",
    "report 5, where it fails",
    "report 6, what it must not be used for",
)
FIGURES, AGAIN = "report, all figures", "report, how to get this again"
MODEL, USE, TRAINING = "card, the model", "card, intended use", "card, training"
DATA, REFUSALS, CLINICS = "card, data", "card, refusals", "card, other clinics"
STRESS, LESION, DOUBT = (
    "report 5, under stress",
    "report 5, lesion or surroundings",
    "report 4, measures of doubt",
)
AUDIT = "audit of the data set"
ALWAYS = frozenset(
    {ASKED, WHOM, WELL, SURE, FAILS, NOT_FOR, FIGURES, AGAIN, MODEL, USE, TRAINING, DATA, AUDIT}
)
STATUSES = ("answered", "partly", "not answered")


class Item(NamedTuple):
    """One thing that a guideline asks for."""

    number: str
    topic: str
    where: tuple[str, ...] = ()
    """Places that answer it; none: only the authors of a study can."""
    lacks: str = ""
    """What these places lack."""


_SETTING = "setting and dates of the sources"
_EXPERTISE = "the training that users need"
_RATERS = "who gave the diagnoses, how, and how far they agree (not in the archive)"

TRIPOD_AI = (
    Item("1", "Title: kind of study, population, outcome"),
    Item("2", "Abstract"),
    Item("3a", "Healthcare context and rationale", (USE,), "existing models"),
    Item("3b", "Target population, purpose in the care pathway, users", (USE, NOT_FOR)),
    Item("3c", "Known health inequalities"),
    Item("4", "Objectives: development or evaluation", (ASKED, MODEL)),
    Item("5a", "Sources of data, and how representative", (WHOM, DATA, FAILS)),
    Item("5b", "Dates of the data"),
    Item("6a", "Setting and centres", (WHOM,), _SETTING),
    Item("6b", "Eligibility of participants", (DATA, AUDIT), "criteria of the sources"),
    Item("6c", "Treatments received"),
    Item("7", "Preparation of data and checks of quality", (AUDIT, DATA)),
    Item(
        "8a",
        "Definition of the outcome",
        (ASKED, WHOM),
        "time of assessment, and whether it is the same in all groups",
    ),
    Item("8b", "Qualification of outcome assessors"),
    Item("8c", "Blinding of outcome assessment"),
    Item("9a", "Choice of predictors", (MODEL,)),
    Item("9b", "Definition of predictors", (MODEL, TRAINING)),
    Item("9c", "Qualification of predictor assessors", (MODEL,)),
    Item("10", "Sample size", (WHOM, DATA), "a calculation of the size needed"),
    Item("11", "Missing data", (WHOM, FAILS)),
    Item("12a", "Use and partition of data", (DATA, AUDIT)),
    Item("12b", "Handling of predictors", (MODEL, TRAINING)),
    Item("12c", "Type of model, building, tuning, internal validation", (MODEL, TRAINING)),
    Item("12d", "Heterogeneity across clusters", (FAILS, CLINICS)),
    Item("12e", "Measures and plots of performance", (WELL, SURE, FIGURES)),
    Item("12f", "Updating, such as recalibration", (SURE,)),
    Item("12g", "How predictions were calculated", (MODEL, AGAIN)),
    Item("13", "Class imbalance", (TRAINING, SURE)),
    Item(
        "14",
        "Approaches to fairness",
        (FAILS,),
        "measures taken against unfairness; groups are only measured",
    ),
    Item("15", "Output, and how thresholds were chosen", (ASKED, WELL)),
    Item("16", "Differences between development and evaluation data", (WHOM, DATA, FAILS)),
    Item("17", "Ethical approval"),
    Item("18a", "Funding"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Protocol"),
    Item("18d", "Registration"),
    Item("18e", "Sharing of data", (AGAIN, DATA)),
    Item("18f", "Sharing of code", (AGAIN,)),
    Item("19", "Patient and public involvement"),
    Item("20a", "Flow of participants", (WHOM, DATA, AUDIT)),
    Item(
        "20b",
        "Characteristics, by source",
        (WHOM,),
        "dates, treatments, and characteristics within each source",
    ),
    Item("20c", "Comparison with the development data", (DATA,), "characteristics other than the source"),
    Item("21", "Participants and outcomes in each analysis", (WHOM, WELL, FAILS)),
    Item("22", "The full model, to predict for new individuals", (MODEL, AGAIN)),
    Item("23a", "Performance with intervals, and in subgroups", (WELL, SURE, FAILS)),
    Item("23b", "Heterogeneity of performance across clusters", (FAILS, CLINICS)),
    Item("24", "Results of updating", (SURE,)),
    Item("25", "Interpretation, fairness included"),
    Item("26", "Limitations", (FAILS,)),
    Item("27a", "Input that is poor or missing", (REFUSALS, STRESS)),
    Item("27b", "Interaction and expertise of users", (USE,), _EXPERTISE),
    Item("27c", "Next steps for research"),
)

STARD_AI = (
    Item("1", "Title or abstract: diagnostic accuracy, AI"),
    Item("2", "Abstract"),
    Item("3", "Background, intended use, place in the workflow", (USE, NOT_FOR), "the state of the field"),
    Item("4", "Objectives and hypotheses", (ASKED,), "hypotheses"),
    Item("5", "Prospective or retrospective", (FAILS,)),
    Item("6", "Ethical approval"),
    Item("7", "Eligibility of participants and of data", (DATA, AUDIT), "criteria of the sources"),
    Item("8", "How eligible participants were identified"),
    Item("9", "Setting, location, dates"),
    Item("10", "Consecutive, random or convenience series", (FAILS,)),
    Item(
        "11",
        "Source of the data set, and what it was collected for",
        (WHOM, DATA),
        "what it was collected for",
    ),
    Item("12", "Annotation of the data set"),
    Item(
        "13",
        "Devices of acquisition, and software",
        (MODEL, AGAIN),
        "devices (not in the archive)",
    ),
    Item("14", "Protocol of acquisition, and preprocessing", (MODEL, AUDIT), "protocols of acquisition"),
    Item("15a", "Index test, in detail", (MODEL, TRAINING, AGAIN)),
    Item("15b", "Development of the index test, and partition of data", (TRAINING, DATA)),
    Item("15c", "Cut-offs, and when they were chosen", (ASKED, WELL)),
    Item("15d", "Users, and expertise that they need", (USE,), _EXPERTISE),
    Item("16a", "Reference standard, in detail", (FAILS,), _RATERS),
    Item("16b", "Rationale for the reference standard"),
    Item("16c", "Categories of the reference standard", (ASKED, WHOM)),
    Item("17a", "What was known to those who ran the index test", (MODEL,)),
    Item("17b", "What was known to those who assessed the reference"),
    Item("18", "Estimating and comparing accuracy", (WELL, AGAIN)),
    Item("19", "Indeterminate results", (WHOM, SURE)),
    Item("20", "Missing data", (WHOM,)),
    Item("21", "Analyses of variability", (FAILS, STRESS, CLINICS)),
    Item("22", "Sample size", (WHOM,), "a calculation of the size needed"),
    Item("23", "Analysis of errors and of fairness", (FAILS, LESION, DOUBT)),
    Item("24", "Flow of participants", (WHOM, AUDIT)),
    Item("25", "Characteristics of participants and images", (WHOM, FAILS)),
    Item("26a", "Severity among those with the condition", (WHOM,), "thickness or stage"),
    Item("26b", "Other diagnoses among those without", (WHOM, FAILS)),
    Item("27", "Time and treatment between index test and reference"),
    Item("28", "How far prevalence and spectrum stand for practice", (FAILS, WELL)),
    Item("29", "External evaluation, and how its data differ", (CLINICS,)),
    Item("30", "Index test against reference, as a table", (WELL,)),
    Item("31", "Accuracy and its precision", (WELL, FIGURES)),
    Item("32", "Adverse events"),
    Item("33", "Limitations", (FAILS,)),
    Item("34", "Implications for practice", (USE, NOT_FOR)),
    Item("35", "Ethics and fairness", (FAILS, NOT_FOR), "ethics"),
    Item("36", "Registration"),
    Item("37", "Protocol"),
    Item("38", "Funding"),
    Item("39", "Commercial interests"),
    Item("40a", "Availability of data and code", (AGAIN, DATA)),
    Item("40b", "Outputs that can be audited", (AGAIN,)),
)

CLAIM_2024 = (
    Item("1", "Title or abstract: AI, and which kind"),
    Item("2", "Abstract"),
    Item("3", "Background, intended use and role", (USE, NOT_FOR), "scientific background"),
    Item("4", "Aims, objectives, hypotheses", (ASKED,), "hypotheses"),
    Item("5", "Prospective or retrospective", (FAILS,)),
    Item("6", "Goal of the study", (ASKED, USE)),
    Item("7", "Sources of data", (WHOM, DATA)),
    Item("8", "Inclusion and exclusion", (DATA, AUDIT), "criteria of the sources"),
    Item("9", "Preprocessing", (MODEL, AUDIT)),
    Item("10", "Selection of subsets", (DATA, AUDIT)),
    Item("11", "De-identification"),
    Item("12", "Missing data", (WHOM, FAILS)),
    Item("13", "Protocol of image acquisition"),
    Item("14", "Reference standard", (FAILS,), _RATERS),
    Item("15", "Rationale for the reference standard"),
    Item("16", "Source of reference annotations", (DATA,), "annotators and their qualification"),
    Item("17", "Annotation of the test set"),
    Item("18", "Variability of raters"),
    Item("19", "Assignment to partitions", (DATA, AUDIT)),
    Item("20", "Level at which partitions are disjoint", (DATA, AUDIT)),
    Item("21", "Sample size of the test", (WHOM,), "a calculation of the size needed"),
    Item("22", "Model", (MODEL,)),
    Item("23", "Software and hardware", (MODEL, AGAIN), "hardware"),
    Item("24", "Initialisation", (TRAINING,)),
    Item("25", "Training", (TRAINING,)),
    Item("26", "Selection of the final model", (TRAINING,)),
    Item("27", "Ensembling", (TRAINING,)),
    Item("28", "Metrics of performance", (WELL, FIGURES)),
    Item("29", "Uncertainty", (WELL, AGAIN)),
    Item("30", "Robustness", (STRESS,)),
    Item("31", "Explainability, and whether it was validated", (LESION,)),
    Item("32", "Evaluation on internal data", (WELL,)),
    Item("33", "Testing on external data", (CLINICS,)),
    Item("34", "Registration of a clinical trial"),
    Item("35", "Flow of participants or images", (WHOM, DATA, AUDIT)),
    Item("36", "Characteristics in each partition", (WHOM,), "those of the other partitions"),
    Item("37", "Performance on all partitions", (WELL, MODEL)),
    Item("38", "Accuracy and its precision, weak subgroups", (WELL, SURE, FAILS)),
    Item("39", "Analysis of failures", (FAILS, LESION)),
    Item("40", "Limitations", (FAILS,)),
    Item("41", "Implications for practice", (USE, NOT_FOR)),
    Item("42", "Protocol or further details", (AGAIN,)),
    Item("43", "Availability of software, model and data", (AGAIN, DATA)),
    Item("44", "Funding"),
)

GUIDELINES = {"TRIPOD+AI": TRIPOD_AI, "STARD-AI": STARD_AI, "CLAIM 2024": CLAIM_2024}


def answers(there: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Where each item of each guideline is answered.

    Args:
        there: places, beside those of `ALWAYS`, that the report and its card have.

    Returns:
        By guideline a row an item: `number`, `topic`, `status` (of `STATUSES`), `where`, and
        `lacks`, words for what is missing.
    """
    answered = {}
    for name, items in GUIDELINES.items():
        rows = []
        for item in items:
            where = [place for place in item.where if place in ALWAYS or place in there]
            lacks = [item.lacks] if item.lacks and where else []
            lacks += [f"{place} (not measured)" for place in item.where if place not in where]
            status = STATUSES[2 if not where else 1 if lacks else 0]
            rows.append(
                {
                    "number": item.number,
                    "topic": item.topic,
                    "status": status,
                    "where": where,
                    "lacks": "; ".join(lacks),
                }
            )
        answered[name] = rows
    return answered
