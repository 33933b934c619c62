"""Loops over the bytes of tables, in the part of Python that Numba compiles; see `compiling`."""

from __future__ import annotations

import numpy as np

__all__ = [
    "count_words",
    "gather",
    "gather_padded",
    "parse_booleans",
    "parse_floats",
    "parse_integers",
    "split_rows",
    "split_words",
    "walk",
]


def walk(data, first, before, item_bytes, begins, counts, starts) -> int:
    """Find where the cells of varying length stand in rows of a stream.

    Parameters
    ----------
    data : (n,) array of uint8
        Rows one after the other.
    first : int
        Where the first one begins.
    before : (k + 1,) array of int64
        Bytes of fixed length before each of the cells that vary, and after the last.
    item_bytes : (k,) array of int64
        Bytes of an item of each cell.
    begins, counts : (rows, k) array of int64
        To be filled: where the items of a cell begin, and how many there are.
    starts : (rows + 1,) array of int64
        To be filled: where rows begin, and where the last one ends.

    Returns
    -------
    int
        How many whole rows there are, at most as many as there is room for.
    """
    n = data.size
    position = first
    starts[0] = position
    for row in range(counts.shape[0]):
        for k in range(item_bytes.size):
            position += before[k]
            if position + 4 > n:
                return row
            count = (
                (np.int64(data[position]) << 24)
                | (np.int64(data[position + 1]) << 16)
                | (np.int64(data[position + 2]) << 8)
                | np.int64(data[position + 3])
            )
            position += 4
            begins[row, k] = position
            counts[row, k] = count
            position += count * item_bytes[k]
            if position > n:
                return row
        position += before[item_bytes.size]
        if position > n:
            return row
        starts[row + 1] = position
    return counts.shape[0]


def gather(data, begins, lengths, out) -> None:
    """Put pieces of different lengths one after the other.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, lengths : (pieces,) array of int64
        Where each begins, and its bytes.
    out : (sum of lengths,) array of uint8
        To be filled.
    """
    position = 0
    for i in range(begins.size):
        begin = begins[i]
        for j in range(lengths[i]):
            out[position + j] = data[begin + j]
        position += lengths[i]


def gather_padded(data, begins, lengths, out) -> None:
    """Put pieces of different lengths under each other, zeros behind them.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, lengths : (pieces,) array of int64
        Where each begins, and its bytes.
    out : (pieces, width) array of uint8
        To be filled, zeros before.
    """
    for i in range(begins.size):
        begin = begins[i]
        for j in range(lengths[i]):
            out[i, j] = data[begin + j]


def split_rows(data, n_columns, begins, ends, odd) -> tuple[int, int, bool]:
    """Find the cells of rows of TABLEDATA, written as nearly all programs write them.

    Parameters
    ----------
    data : (n,) array of uint8
        Rows, of which the last need not be whole.
    n_columns : int
        Cells of a row.
    begins, ends : (rows, n_columns) array of int64
        To be filled: where the text of a cell begins and ends, blanks around it left off.
    odd : (rows, n_columns) array of bool
        To be filled: which texts hold entities or carriage returns.

    Returns
    -------
    rows : int
        How many whole rows there are.
    position : int
        Where the last one ends.
    plain : bool
        False if there is something else, which another parser has to look at.
    """
    n = data.size
    position = 0
    row = 0
    while True:
        while position < n and (data[position] == 32 or 9 <= data[position] <= 10 or data[position] == 13):
            position += 1
        first = position
        if position + 4 > n or row == begins.shape[0]:
            return row, first, True
        if not (data[position] == 60 and data[position + 1] == 84 and data[position + 2] == 82):  # <TR
            return row, first, False
        position += 3
        while position < n and data[position] == 32:
            position += 1
        if position >= n:
            return row, first, True
        if data[position] != 62:
            return row, first, False
        position += 1
        column = 0
        while True:
            while position < n and (
                data[position] == 32 or 9 <= data[position] <= 10 or data[position] == 13
            ):
                position += 1
            if position + 5 > n:
                return row, first, True
            if data[position] != 60:
                return row, first, False
            if data[position + 1] == 47:  # </TR>
                if not (data[position + 2] == 84 and data[position + 3] == 82 and data[position + 4] == 62):
                    return row, first, False
                position += 5
                break
            if column == n_columns or data[position + 1] != 84 or data[position + 2] != 68:  # <TD
                return row, first, False
            position += 3
            while position < n and data[position] == 32:
                position += 1
            if position + 2 > n:
                return row, first, True
            odd[row, column] = False
            if data[position] == 47 and data[position + 1] == 62:  # an empty cell, <TD/>
                begins[row, column] = ends[row, column] = position
                position += 2
                column += 1
                continue
            if data[position] != 62:
                return row, first, False
            position += 1
            begin = position
            while position < n and data[position] != 60:
                character = data[position]
                if character == 38 or character == 13:
                    odd[row, column] = True
                elif character < 32 and character != 9 and character != 10:
                    return row, first, False
                position += 1
            end = position
            if position + 5 > n:
                return row, first, True
            if not (
                data[position + 1] == 47
                and data[position + 2] == 84
                and data[position + 3] == 68
                and data[position + 4] == 62
            ):
                return row, first, False
            position += 5
            while begin < end and (data[begin] == 32 or 9 <= data[begin] <= 10 or data[begin] == 13):
                begin += 1
            while begin < end and (data[end - 1] == 32 or 9 <= data[end - 1] <= 10 or data[end - 1] == 13):
                end -= 1
            begins[row, column], ends[row, column] = begin, end
            column += 1
        if column != n_columns:
            return row, first, False
        row += 1


def count_words(data, begins, ends, counts) -> None:
    """Count the words of texts, between blanks.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, ends : (n,) array of int64
        Where each text begins and ends.
    counts : (n,) array of int64
        To be filled.
    """
    for i in range(begins.size):
        words = 0
        inside = False
        for position in range(begins[i], ends[i]):
            blank = data[position] == 32 or 9 <= data[position] <= 13
            if not blank and not inside:
                words += 1
            inside = not blank
        counts[i] = words


def split_words(data, begins, ends, word_begins, word_ends) -> None:
    """Find the words of texts.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, ends : (n,) array of int64
        Where each text begins and ends.
    word_begins, word_ends : (sum of counts,) array of int64
        To be filled.
    """
    word = 0
    for i in range(begins.size):
        inside = False
        for position in range(begins[i], ends[i]):
            blank = data[position] == 32 or 9 <= data[position] <= 13
            if not blank and not inside:
                word_begins[word] = position
            if blank and inside:
                word_ends[word] = position
                word += 1
            inside = not blank
        if inside:
            word_ends[word] = ends[i]
            word += 1


def parse_integers(data, begins, ends, low, high, values, odd) -> None:
    """Turn texts into integers.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, ends : (n,) array of int64
        Where each text begins and ends.
    low, high : int
        Range of the values.
    values : (n,) array of int64
        To be filled.
    odd : (n,) array of uint8
        To be filled: 0 where that is all, 2 where another parser has to look.
    """
    for i in range(begins.size):
        position, end = begins[i], ends[i]
        negative = False
        if position < end and (data[position] == 45 or data[position] == 43):
            negative = data[position] == 45
            position += 1
        value = np.int64(0)
        fine = 0 < end - position <= 18
        while fine and position < end:
            digit = np.int64(data[position]) - 48
            fine = 0 <= digit <= 9
            value = value * 10 + digit
            position += 1
        if negative:
            value = -value
        values[i] = value
        odd[i] = 0 if fine and low <= value <= high else 2


def parse_floats(data, begins, ends, powers, values, odd) -> None:
    """Turn texts into doubles, where one multiplication or division gives the nearest one.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, ends : (n,) array of int64
        Where each text begins and ends.
    powers : (23,) array of float64
        Powers of ten, which are exact.
    values : (n,) array of float64
        To be filled.
    odd : (n,) array of uint8
        To be filled: 0 where that is all; 1 for numbers that need more digits than a double has,
        2 for what may be no number.

    Notes
    -----
    Integers up to 2**53 and powers of ten up to 10**22 are exact as doubles, so that their product
    or quotient is rounded once (Clinger, 1990, PLDI, "How to read floating point numbers
    accurately").
    """
    for i in range(begins.size):
        position, end = begins[i], ends[i]
        if (
            end - position == 3
            and data[position] == 78
            and data[position + 1] == 97
            and data[position + 2] == 78
        ):
            values[i] = np.nan
            odd[i] = 0
            continue
        negative = False
        if position < end and (data[position] == 45 or data[position] == 43):
            negative = data[position] == 45
            position += 1
        mantissa = np.int64(0)
        digits = 0
        significant = 0
        behind = 0
        point = False
        while position < end:
            character = data[position]
            if 48 <= character <= 57:
                digits += 1
                if significant > 0 or character != 48:
                    significant += 1
                if significant <= 18:
                    mantissa = mantissa * 10 + (np.int64(character) - 48)
                if point:
                    behind += 1
            elif character == 46 and not point:
                point = True
            else:
                break
            position += 1
        exponent = 0
        fine = digits > 0
        if fine and position < end and (data[position] == 69 or data[position] == 101):
            position += 1
            minus = False
            if position < end and (data[position] == 45 or data[position] == 43):
                minus = data[position] == 45
                position += 1
            fine = 0 < end - position <= 4
            while fine and position < end:
                digit = np.int64(data[position]) - 48
                fine = 0 <= digit <= 9
                exponent = exponent * 10 + digit
                position += 1
            if minus:
                exponent = -exponent
        if not fine or position < end:
            odd[i] = 2
            continue
        exponent -= behind
        if significant > 18 or mantissa > 9007199254740992 or not -22 <= exponent <= 22:
            odd[i] = 0 if mantissa == 0 and significant == 0 else 1
            values[i] = -0.0 if negative else 0.0
            continue
        value = np.float64(mantissa)
        value = value * powers[exponent] if exponent >= 0 else value / powers[-exponent]
        values[i] = -value if negative else value
        odd[i] = 0


def parse_booleans(data, begins, ends, values, odd) -> None:
    """Turn texts into booleans.

    Parameters
    ----------
    data : (n,) array of uint8
        Where they are.
    begins, ends : (n,) array of int64
        Where each text begins and ends.
    values : (n,) array of bool
        To be filled.
    odd : (n,) array of uint8
        To be filled: 0 for one letter or digit that says it, and for the whole word; else 2.
    """
    for i in range(begins.size):
        begin, end = begins[i], ends[i]
        length = end - begin
        first = data[begin] | 32 if length > 0 else 0
        odd[i] = 2
        values[i] = False
        if length == 1 and (first == 116 or data[begin] == 49):  # t, 1
            values[i] = True
            odd[i] = 0
        elif length == 1 and (first == 102 or data[begin] == 48):  # f, 0
            odd[i] = 0
        elif length == 4 and first == 116:
            if data[begin + 1] | 32 == 114 and data[begin + 2] | 32 == 117 and data[begin + 3] | 32 == 101:
                values[i] = True
                odd[i] = 0
        elif length == 5 and first == 102 and data[begin + 1] | 32 == 97:
            if data[begin + 2] | 32 == 108 and data[begin + 3] | 32 == 115 and data[begin + 4] | 32 == 101:
                odd[i] = 0
