package main

func explain(err error) string { return err.Error() }
