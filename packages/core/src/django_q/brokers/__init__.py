"""Brokers keep the signed packages of a queue until a cluster has worked them off."""

from django_q.brokers.base import Broker, Delivery, Package, Receipt
from django_q.brokers.registry import broker_class, get_broker

__all__ = ["Broker", "Delivery", "Package", "Receipt", "broker_class", "get_broker"]
