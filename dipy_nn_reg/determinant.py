"""Determinants and systems of small matrices, one at each voxel."""


def determinant(rows):
    """Return the determinant of a matrix of tensors or arrays, by its first row.

    The expansion is written out: NumPy's own determinant of a matrix for each voxel
    takes ten times as long.

    Parameters
    ----------
    rows : list of list of tensor or ndarray
        Entries of a square matrix, row by row; all of the same shape.

    Returns
    -------
    determinant : tensor or ndarray
        Of the shape of an entry.

    Examples
    --------
    >>> determinant([[1, 2], [3, 4]])
    -2
    """
    if len(rows) == 1:
        return rows[0][0]
    total, *others = (
        entry * determinant([row[:i] + row[i + 1 :] for row in rows[1:]])
        for i, entry in enumerate(rows[0])
    )
    for i, term in enumerate(others):
        total = total + term if i % 2 else total - term
    return total


def solve(rows, values):
    """Solve systems of linear equations by Cramer's rule.

    Parameters
    ----------
    rows : list of list of tensor or ndarray
        As for :func:`determinant`, which is not 0.
    values : list of tensor or ndarray
        Right sides, one for each row.

    Returns
    -------
    solution : list of tensor or ndarray

    Examples
    --------
    >>> solve([[1, 2], [3, 4]], [5, 11])
    [1.0, 2.0]
    """
    whole = determinant(rows)
    replaced = (
        [[*row[:i], value, *row[i + 1 :]] for row, value in zip(rows, values)]
        for i in range(len(rows))
    )
    return [determinant(matrix) / whole for matrix in replaced]
