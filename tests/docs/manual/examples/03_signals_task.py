# Lost in extraction: written anew
# tasks.py
from django.contrib.auth.models import User
from django.core.mail import send_mass_mail
from django_q.tasks import async_task
# tell everyone but the user
def inform_everyone(user):
    return send_mass_mail([
        ('New email', f"{user.username} has a new email address: {user.email}",
         'from@example.com', [u.email])
        for u in User.objects.exclude(pk=user.pk)
    ])
