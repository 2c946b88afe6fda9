"""The forecast of a scheduled kernel orders programs as a machine does, and what is foreseen by it alone is made of few programs."""

import math
from dataclasses import replace

import pytest
from warploom.agents.evolve import foreseen as module
from warploom.agents.evolve.forecast import forecast
from warploom.agents.evolve.foreseen import foreseen
from warploom.backends.cpu.host import host
from warploom.ir.module import Launch
from warploom.ir.text import parse_program

MACHINE = replace(host(), isa="avx512", flops=1e11, bandwidth=2e10, bandwidth_cache=1e11, l1=1 << 15, l2=1 << 20, l3=1 << 25)


def seconds(text: str) -> float:
    program = parse_program(text)
    return forecast(Launch(program, (), program, ""), MACHINE)


def product(index: str, packed: str, rows: int = 14, columns: int = 32) -> str:
    return f"""
def product(a: f32[56, 512], b: f32[{packed}], c: f32[56, 64]):
    for j0 in block({64 // columns}):
        for i0 in block({56 // rows}):
            v: local.f32[{rows}, {columns}]
            for i1 in unroll({rows}):
                for j1 in vector({columns}):
                    v[i1, j1] = 0.0
            for r in serial(512):
                for i1 in unroll({rows}):
                    for j1 in vector({columns}):
                        v[i1, j1] += a[i0 * {rows} + i1, r] * b[{index}]
            for i1 in unroll({rows}):
                for j1 in vector({columns}):
                    c[i0 * {rows} + i1, j0 * {columns} + j1] = v[i1, j1]
"""


ROWS = product("r, j0 * 32 + j1", "512, 64")


def test_a_product_is_forecast_near_the_peak():
    floor = 2 * 56 * 512 * 64 / MACHINE.flops
    assert floor < seconds(ROWS) < 2 * floor


def test_packed_columns_are_not_gathered():
    packed = product("j0 + j1 // 32, r, j1 % 32", "2, 512, 32")
    assert seconds(packed) == pytest.approx(seconds(ROWS), rel=0.2)
    assert seconds(product("j0 * 32 + j1, r", "64, 512")) > 2 * seconds(ROWS)


def test_a_tile_beyond_the_registers_and_a_tile_that_waits_are_slower():
    assert seconds(product("r, j0 * 64 + j1", "512, 64", 28, 64)) > 1.3 * seconds(ROWS)
    assert seconds(product("r, j0 * 16 + j1", "512, 64", 1, 16)) > 1.3 * seconds(ROWS)


def total(length: int, lanes: str, rows: int = 4096) -> str:
    return f"""
def total(x: f32[{rows}, {length}], y: f32[{rows}]):
    for i in block({rows}):
        part: local.f32[64]
        for r1 in vector(64):
            part[r1] = 0
        for r0 in serial({length // 64}):
            for r1 in {lanes}(64):
                part[r1] += x[i, r0 * 64 + r1]
        v: local.f32[1]
        v[0] = 0.0
        for r1 in vector(64):
            v[0] += part[r1]
        y[i] = v[0]
"""


def test_scalar_code_is_slower_than_vectors():
    assert seconds(total(1024, "serial")) > 2 * seconds(total(1024, "vector"))


def test_data_comes_at_the_memory_s_pace():
    nbytes = 4 * 1024 * 4096
    assert nbytes / MACHINE.bandwidth < seconds(total(1024, "vector")) < 2 * nbytes / MACHINE.bandwidth


def test_what_no_loop_changes_is_counted_once():
    def scaled(value: str) -> str:
        return f"""
def scaled(x: f32[64, 1024], s: f32[64], y: f32[64, 1024]):
    for i in block(64):
        for j0 in serial(64):
            for j1 in vector(16):
                y[i, j0 * 16 + j1] = {value}
"""

    assert seconds(scaled("x[i, j0 * 16 + j1] * exp(s[i])")) < 1.05 * seconds(scaled("x[i, j0 * 16 + j1] * s[i]"))
    assert seconds(scaled("exp(x[i, j0 * 16 + j1])")) > 1.1 * seconds(scaled("x[i, j0 * 16 + j1] * s[i]"))


def test_what_is_foreseen_is_fast_apart_and_made_of_few_programs(run, monkeypatch):
    board, made = run().board, []
    own = board.workshop.make
    monkeypatch.setattr(board.workshop, "make", lambda s: made.append(s) or own(s))
    usual = board.forecast(board.default.candidate)
    found = foreseen(board, 4, lambda c: math.log(board.forecast(c) / usual))
    assert len(made) <= module.MADE
    told = [board.forecast(own(s)) / usual for s in found]
    assert told == sorted(told) and all(t < 1 for t in told)
    pairs = [(a, b) for n, a in enumerate(found) for b in found[:n]]
    assert all(len({name for name, _ in set(a.choices) ^ set(b.choices)}) > 1 for a, b in pairs)
