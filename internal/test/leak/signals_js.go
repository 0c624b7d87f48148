package leak

// heedSignals has nothing to do: a browser has neither signals nor other processes.
func heedSignals() {}
