"""What a run that a test writes by hand notes of itself."""

RUN = {
    "python": "3.12.0",
    "packages": {"torch": "2.11.0"},
    "git": {"commit": "abc1234", "dirty": False},
    "platform": "Linux",
    "peak_memory_mib": 500,
    "dataset_fingerprint": "f" * 32,
}
TRAINING = {
    "best_epoch": 2,
    "best_score": 0.5,
    "stopped": "",
    "seconds": 12.0,
    "device": "cpu",
    "precision": "32-true",
    "threads": 1,
    "parameters_trained": 1234,
}
