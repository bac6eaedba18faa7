import pytest

from services.embedder.device import CPU, CUDA, DeviceMissing, check, providers


@pytest.mark.parametrize(
    ("device", "available", "given"),
    [
        ("auto", [CPU], [CPU]),
        ("auto", [CUDA, CPU], [CUDA, CPU]),
        ("cpu", [CUDA, CPU], [CPU]),
        ("cuda", [CUDA, CPU], [CUDA, CPU]),
    ],
)
def test_a_gpu_is_used_where_there_is_one_and_it_is_not_refused(
    device: str, available: list[str], given: list[str]
) -> None:
    assert providers(device, available) == given  # type: ignore[arg-type]


def test_a_gpu_that_is_asked_for_and_missing_is_no_cpu() -> None:
    with pytest.raises(DeviceMissing, match="onnxruntime-gpu"):
        providers("cuda", [CPU])
    with pytest.raises(DeviceMissing, match="nvidia-smi"):
        check("cuda", [CPU])
    check("auto", [CPU])
    check("cuda", [CUDA, CPU])
