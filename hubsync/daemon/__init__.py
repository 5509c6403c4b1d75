"""The process that carries mirrors out when their time has come."""
