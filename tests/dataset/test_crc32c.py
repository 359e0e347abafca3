"""CRC-32C against the vectors of RFC 3720 and a register moved bit by bit."""

from __future__ import annotations

import random

import pytest

from varifold.dataset.crc32c import crc32c, masked_crc32c

VECTORS = {
    b"": 0,
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
}


def bit_by_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("data", VECTORS, ids=lambda data: str(len(data)))
def test_the_vectors_of_rfc_3720(data):
    assert crc32c(data) == VECTORS[data]


@pytest.mark.parametrize("length", [1, 3, 511, 512, 513, 767, 768, 1025, 4096, 5000, 70_001])
def test_long_data_agrees_with_a_register_moved_bit_by_bit(length):
    data = random.Random(length).randbytes(length)
    assert crc32c(data) == bit_by_bit(data)
    assert crc32c(bytes(300) + data) == bit_by_bit(bytes(300) + data)


def test_the_mask_is_a_rotation_and_a_sum():
    crc = bit_by_bit(b"a record")
    rotated = int(f"{crc:032b}"[17:] + f"{crc:032b}"[:17], 2)
    assert masked_crc32c(b"a record") == (rotated + 0xA282EAD8) % 2**32
