# In the router: live "/prices", MyAppWeb.PriceLive
defmodule MyAppWeb.PriceLive do
  use MyAppWeb, :live_view

  @impl true
  def mount(_params, _session, socket) do
    # once the browser's socket is there, not for the static page before
    if connected?(socket), do: Phoenix.PubSub.subscribe(Shop.PubSub, "prices")
    {:ok, assign(socket, prices: %{})}
  end

  @impl true
  def handle_info({:price, %{sku: sku, price: price}}, socket) do
    {:noreply, update(socket, :prices, &Map.put(&1, sku, price))}
  end

  @impl true
  def render(assigns) do
    ~H"""
    <ul id="prices">
      <li :for={{sku, price} <- @prices}>{sku}: {price}</li>
    </ul>
    """
  end
end
