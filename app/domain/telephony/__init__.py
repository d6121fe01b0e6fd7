"""What a tenant holds until it is released: extensions, trunks, DIDs and all else of that kind."""
