"""The jobs of the engine. One is a module of engine/jobs with a `run_job`, and a line here."""

from enum import StrEnum


class Job(StrEnum):
    """What `python -m engine JOB DIR` does there."""

    module: str
    """Below engine.jobs; holds `run_job(run, log, control)`."""
    summary: str

    def __new__(cls, name: str, module: str, summary: str) -> "Job":
        """A member is its name, as the command line takes it."""
        job = str.__new__(cls, name)
        job._value_ = name
        job.module, job.summary = module, summary
        return job

    TRAIN = "train", "train_job", "train a run from its first step"
    RESUME = "resume", "resume_job", "go on with a run from its newest checkpoint"
    PREVIEW = "preview", "preview_job", "answer questions about a recipe's rows"
    GENERATE = "generate", "playground_job", "answer prompts with a run's adapter and its base"
    EXPORT = "export", "export_job", "make of a run's adapter what others run"
    DOCTOR = "doctor", "doctor_job", "examine the installed packages"

    @property
    def is_of_run(self) -> bool:
        """Whether it works in a run that has a `Request`, and not for one viewer."""
        return self in {Job.TRAIN, Job.RESUME}
