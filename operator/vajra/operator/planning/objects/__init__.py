"""Manifests of what a VajraDeployment becomes, one kind a file; pure functions.

Only what we mean to own is in them, and nothing that an API server would leave out (null, empty lists).
"""
