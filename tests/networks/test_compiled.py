"""Compiled parts of a network say what the plain ones say, for any number of rows."""

import torch
import torch._dynamo.testing

from networks.compiled import compile_network
from networks.trellis.sparse_structure_flow import SparseStructureFlow


def test_a_compiled_network_agrees_and_keeps_its_names() -> None:
    torch.manual_seed(0)
    flow = SparseStructureFlow(4, 8, 8, 64, patch_size=1, cond_channels=48, num_blocks=2, num_heads=2, qk_rms_norm=True)
    flow.eval().requires_grad_(False)
    names = list(flow.state_dict())
    x, t, tokens = torch.randn(2, 8, 4, 4, 4), torch.tensor([500.0, 20.0]), torch.randn(1, 20, 48)
    with torch.inference_mode():
        plain = [flow(x, t, tokens), flow(x[:1], t[:1], None)]
        counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
        assert compile_network(flow, backend=counter) == 2 * 6  # three norms, two head norms, one feed-forward a block
        compiled = [flow(x, t, tokens)]
        first = counter.frame_count
        compiled.append(flow(x[:1], t[:1], None))
    for mine, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert counter.frame_count == first < 12  # one for each kind of part, and none more for other numbers of rows
    assert list(flow.state_dict()) == names
