defmodule Shop.Stock do
  def count("A1"), do: {:ok, 7}
  def count("B2"), do: raise("counting")
  def count(_sku), do: {:error, :unknown_sku}
end
