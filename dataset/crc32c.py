"""CRC-32C (Castagnoli et al. 1993; RFC 3720), of which TFRecord files have a masked form.

A register is linear in what it has read, so pieces of equal length are read side by side from a register of zero, and
joined in pairs: the left piece's register is moved past the right piece and added to it. Zeros ahead change nothing.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # with the lowest power in the highest bit
SHORT = 512  # bytes, which are read one by one
LONGEST = 8  # a piece has 2^8 bytes at most; longer ones are slower to set side by side
BITS = np.arange(32, dtype=np.uint32)
MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h


def crc32c(data: bytes) -> int:
    """The CRC-32C of bytes."""
    if len(data) < SHORT:
        register = 0xFFFFFFFF
        for byte in data:
            register = BYTES[(register ^ byte) & 255] ^ register >> 8
        return register ^ 0xFFFFFFFF
    power = min(len(data).bit_length() // 2, LONGEST)
    pieces = -(-len(data) >> power)
    padded = np.zeros(pieces << power, np.uint8)
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    padded[-len(data) :][:4] ^= 255
    low, high = _halves()
    register = np.zeros(pieces, np.uint32)
    for word in np.ascontiguousarray(padded.view("<u4").reshape(pieces, -1).T):
        register ^= word
        register = low[register & 0xFFFF] ^ high[register >> 16]
    while len(register) > 1:
        if len(register) % 2:
            register = np.concatenate([np.zeros(1, np.uint32), register])
        register = _apply(_past(power), register[::2]) ^ register[1::2]
        power += 1
    return int(register[0]) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """As TFRecord stores it, for a CRC of bytes that hold their own CRC is poor."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def _byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ POLYNOMIAL * (value & 1)
    return value


BYTES = [_byte(value) for value in range(256)]


def _apply(columns: NDArray[np.uint32], registers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A matrix of bits, given by its columns, times registers [N]."""
    return np.bitwise_xor.reduce((registers[:, None] >> BITS & 1) * columns, axis=1)


@functools.cache
def _past(power: int) -> NDArray[np.uint32]:
    """The matrix that moves a register past 2^power zero bytes."""
    if power == 0:
        return np.array([BYTES[1 << bit & 255] ^ (1 << bit) >> 8 for bit in range(32)], np.uint32)
    return _apply(_past(power - 1), _past(power - 1))


@functools.cache
def _halves() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What four zero bytes make of a register's lower and upper half."""
    half = np.arange(1 << 16, dtype=np.uint32)
    return _apply(_past(2), half), _apply(_past(2), half << 16)
