"""What the clients of our own servers share: where a server is, how it is asked, and what its errors become."""
