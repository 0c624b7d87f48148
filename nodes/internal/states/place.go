package states

// A Place is a position in a list, counted from one; 0: nowhere.
type Place int

func At(at int) Place { return Place(at + 1) }

// Index is the place counted from zero; negative: nowhere.
func (p Place) Index() int { return int(p) - 1 }
